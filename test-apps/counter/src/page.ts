/** The page: the count, where it is kept, and the two things that can be done with a session. */
export function renderPage(count: number, place: string, notice: unknown): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${count} · koa-wsession</title>
<style>
  :root { color-scheme: light dark; font: 1.1rem/1.5 system-ui, sans-serif; }
  body { display: grid; place-content: center; min-height: 100vh; margin: 0; text-align: center; }
  output { display: block; font-size: 8rem; font-weight: 700; line-height: 1.1; font-variant-numeric: tabular-nums; }
  p { margin: .5rem 0; }
  form { display: inline; }
  button, a { font: inherit; padding: .4rem 1rem; margin: .25rem; border: 1px solid; border-radius: .5rem; background: none; color: inherit; text-decoration: none; cursor: pointer; }
  [role=status] { min-height: 1.5em; opacity: .8; }
</style>
<main>
  <p>Your visits</p>
  <output>${count}</output>
  <p>kept in <strong>${escapeHtml(place)}</strong></p>
  <p role="status">${escapeHtml(String(notice ?? ''))}</p>
  <a href="/">Visit again</a>
  <form method="post" action="/regenerate"><button>New session id</button></form>
  <form method="post" action="/logout"><button>Log out</button></form>
</main>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
