// Warns a minute before the session expires, then shows the login. Without scripts, the page shows the time limits.
const WARNING = 60;

const form = document.querySelector('#expiry');
// Screen readers announce the alert once, when it appears; they don't announce the seconds.
const alert = form.querySelector('[role=alert]');
const timer = form.querySelector('[role=timer]');
const button = form.querySelector('button');
const idle = Number(form.dataset.idle);
const end = Date.now() + Number(form.dataset.left) * 1000;
const others = new BroadcastChannel('expiry');
let idleEnd;

/** Starts the idle time again, after a click here or in another tab. */
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
