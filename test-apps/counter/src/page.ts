/** The page: the count, where it is kept, and what can be done with a session. */
export function renderPage(count: number, place: string, notices: readonly string[]): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${count} · koa-wsession</title>
<style>
  :root { color-scheme: light dark; font: 1.1rem/1.5 system-ui, sans-serif; }
  body { display: grid; place-content: center; min-height: 100vh; margin: 0; text-align: center; }
  h1 { font-size: 1.2rem; font-weight: 400; margin: 0; }
  output { display: block; font-size: 8rem; font-weight: 700; line-height: 1.1; font-variant-numeric: tabular-nums; }
  p { margin: .5rem 0; }
  nav { display: flex; flex-wrap: wrap; justify-content: center; gap: .5rem; }
  button, a { display: inline-flex; align-items: center; box-sizing: border-box; min-height: 2.75rem; font: inherit; padding: .4rem 1rem; border: 1px solid; border-radius: .5rem; background: none; color: inherit; text-decoration: none; cursor: pointer; }
  [role=status] { min-height: 1.5em; opacity: .8; }
</style>
<main>
  <h1>Your visits</h1>
  <output>${count}</output>
  <p>kept in <strong>${escapeHtml(place)}</strong></p>
  <p role="status">${escapeHtml(notices.join(' '))}</p>
  <nav>
    <a href="/">Visit again</a>
    <form method="post" action="/regenerate"><button>New session id</button></form>
    <form method="post" action="/logout"><button>Log out</button></form>
  </nav>
</main>
</html>
`;
}

export const ICON =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><circle cx="5" cy="5" r="4" fill="#2150b5"/></svg>';

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
