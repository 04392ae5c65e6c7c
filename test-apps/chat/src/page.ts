/** The chat's page. */
export const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Chat · koa-wsession</title>
<style>
  :root { color-scheme: light dark; font: 1.1rem/1.5 system-ui, sans-serif; }
  body { max-width: 36rem; margin: 2rem auto; padding: 0 1rem; }
  ul { list-style: none; padding: 0; min-height: 8rem; }
  form { display: flex; gap: .5rem; flex-wrap: wrap; }
  input { flex: 1; min-width: 8rem; }
  input, button { font: inherit; padding: .4rem .8rem; border: 1px solid; border-radius: .5rem; background: none; color: inherit; }
</style>
<h1>Chat</h1>
<p id="state" role="status"></p>
<form id="login"><input name="user" placeholder="Your name" required><button>Log in</button></form>
<div id="room" hidden>
  <ul id="messages" aria-live="polite"></ul>
  <form id="say"><input name="text" placeholder="Message" autocomplete="off" required><button>Send</button></form>
  <p><button id="logout">Log out</button></p>
</div>
<script type="module">
  const by = (id) => document.getElementById(id);
  let socket;
  async function show() {
    const { user, messages } = await (await fetch('/me')).json();
    by('login').hidden = user !== null;
    by('room').hidden = user === null;
    by('state').textContent = user === null ? 'You are logged out.' : user + ': ' + messages + ' messages sent';
    if (user !== null && !socket) connect();
  }
  function connect() {
    socket = new WebSocket(location.origin.replace('http', 'ws'));
    socket.onmessage = ({ data }) => {
      const { user, text } = JSON.parse(data);
      const item = document.createElement('li');
      item.textContent = user + ': ' + text;
      by('messages').append(item);
      show();
    };
    socket.onclose = () => { socket = undefined; show(); };
  }
  by('login').onsubmit = async (event) => {
    event.preventDefault();
    await fetch('/login?user=' + encodeURIComponent(event.target.user.value), { method: 'POST' });
    show();
  };
  by('say').onsubmit = (event) => {
    event.preventDefault();
    socket.send(event.target.text.value);
    event.target.reset();
  };
  by('logout').onclick = () => fetch('/logout', { method: 'POST' }).then(show);
  show();
</script>
</html>
`;
