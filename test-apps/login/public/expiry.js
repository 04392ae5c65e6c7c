// Warns a minute before the session ends, and shows the login when it has. Without scripts the page says how long one has.
const WARNING = 60;

const form = document.querySelector('#expiry');
// Read out once, when it appears; the seconds aren't read out.
const alert = form.querySelector('[role=alert]');
const timer = form.querySelector('[role=timer]');
const button = form.querySelector('button');
const idle = Number(form.dataset.idle);
const end = Date.now() + Number(form.dataset.left) * 1000;
const others = new BroadcastChannel('expiry');
let idleEnd;

/** There was a click, here or in another tab: the time without one starts again. */
function restart() {
  idleEnd = Date.now() + idle * 1000;
  tick();
}

function tick() {
  const left = Math.ceil((Math.min(idleEnd, end) - Date.now()) / 1000);
  if (left <= 0) return location.assign('/login?expired');
  const canStay = idleEnd < end;
  const seconds = left === 1 ? '1 second' : `${left} seconds`;
  const isClose = left <= Math.min(WARNING, idle / 2);
  timer.textContent = `in ${seconds}.`;
  button.hidden = !canStay;
  if (form.hidden === !isClose) return;
  form.hidden = !isClose;
  alert.textContent = isClose ? 'You will be logged out' : '';
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const response = await fetch(form.action, {
    method: 'POST',
    body: new URLSearchParams(new FormData(form)),
    redirect: 'manual',
  });
  if (!response.ok) return location.assign('/login?expired');
  others.postMessage('click');
  restart();
});

others.addEventListener('message', restart);
others.postMessage('click');
restart();
setInterval(tick, 1000);
