"""The console: screens over the API, by the key of the person who is signed in.

It imports nothing of ours but the client, `tinycdp`: it shows what the API answers, and computes nothing that the API
could not. `server` makes a server of Streamlit, with `gate` before it and `sign_in` beside it; `app` is the script that
Streamlit runs, a router to the files in `screens`. What screens share:

- `answers`: loaders, whose answers are kept for one tab and one sign-in;
- `page`: the header, the empty state, an error as the API words it;
- `tables`: a table whose rows are picked by id; `times`: instants in the workspace's zone;
- `expression`: where an expression is written, with the `editor` and its builder, or read;
- `navigation`: links from screen to screen; `theme`: the colours.

To add a screen, put a file into `screens` with TITLE, ICON and `show`, and its module into GROUPS of
`screens/__init__.py`.
"""
