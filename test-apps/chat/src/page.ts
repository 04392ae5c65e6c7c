import { type Html, html, renderPage } from 'app-kit/page';

interface Frame {
  readonly place: string;
  readonly csrf: Html;
}

export function renderLogin({ place, csrf, wasLoggedOut }: Frame & { wasLoggedOut: boolean }): string {
  return renderPage({
    title: 'Chat',
    place,
    notices: wasLoggedOut ? ['You are logged out.'] : [],
    main: html`
<form method="post" action="/login">
  ${csrf}
  <label for="name">Your name</label>
  <input id="name" name="name" autocomplete="nickname" maxlength="40" required autofocus>
  <button class="main wide">Log in</button>
</form>`,
  });
}

export function renderRoom({ place, csrf, user, messages }: Frame & { user: string; messages: number }): string {
  return renderPage({
    title: 'Chat',
    place,
    script: '/chat.js',
    main: html`
<p>You are <strong id="user">${user}</strong>. Messages sent: <output class="number" id="count">${messages}</output></p>
<ul class="list" id="messages" aria-live="polite"></ul>
<p class="quiet empty">No messages yet. What is said while this page is open appears here.</p>
<form id="say" method="post" action="/say">
  ${csrf}
  <label for="text">Message</label>
  <div class="row">
    <input id="text" name="text" autocomplete="off" maxlength="1000" required autofocus>
    <button class="main">Send</button>
  </div>
</form>
<p class="quiet" id="state" role="status"></p>
<div class="actions"><form method="post" action="/logout">${csrf}<button>Log out</button></form></div>`,
  });
}
