// Sends and shows messages by WebSocket. Without scripts, the form sends them by POST.
const LOGGED_OUT = 4001;

const [user, count, messages, form, state] = ['user', 'count', 'messages', 'say', 'state'].map((id) =>
  document.getElementById(id),
);
let socket;
let wait = 500;

function connect() {
  socket = new WebSocket(location.origin.replace('http', 'ws'));
  socket.onopen = () => {
    wait = 500;
    state.textContent = 'Connected.';
  };
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    const item = document.createElement('li');
    item.textContent = `${message.user}: ${message.text}`;
    messages.append(item);
    if (message.user === user.textContent) count.textContent = message.messages;
  };
  socket.onclose = ({ code }) => {
    if (code === LOGGED_OUT) return location.assign('/?out');
    state.textContent = 'Not connected. Trying again…';
    setTimeout(reconnect, wait);
    wait = Math.min(wait * 2, 30_000);
  };
}

/** Browsers hide why an upgrade was refused, so ask whether the session has ended. */
async function reconnect() {
  const me = await fetch('/me').then(
    (response) => (response.ok ? response.json() : undefined),
    () => undefined,
  );
  if (me && me.user === null) location.assign('/?out');
  else connect();
}

form.addEventListener('submit', (event) => {
  if (socket.readyState !== WebSocket.OPEN) return; // by POST
  event.preventDefault();
  socket.send(form.elements.text.value);
  form.elements.text.value = '';
});

connect();
