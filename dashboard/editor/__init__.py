"""Expressions on a page: the editor of their text, the builder of the common shapes, and both as one input.

    expression_input    both, with a switch between them: what a screen uses
    expression_editor   the text: a component around CodeMirror, built from `source` into `bundle` by `make editor`
    expression_builder  native widgets, from the tree of a text and back
    routes              what the editor's code in the browser asks the console's server

`routes` needs no page and the others need no route, so each is imported by itself.
"""
