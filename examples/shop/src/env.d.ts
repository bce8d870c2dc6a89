/** What the page is built with. Vite gives a page no variable without this prefix. */
interface ImportMetaEnv {
  readonly VITE_TINYCDP_URL: string;
  readonly VITE_TINYCDP_WRITE_KEY: string;
  readonly VITE_TINYCDP_READ_KEY: string;
}
