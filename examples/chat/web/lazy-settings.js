// Colours and language. Both are cookies, so that the server's first paint has them already.

import { $ } from './dom.js';

const cookie = (name, value) => {
  document.cookie = `${name}=${encodeURIComponent(value)}; Path=/; Max-Age=31536000; SameSite=Lax${location.protocol === 'https:' ? '; Secure' : ''}`;
};

export function startSettings() {
  const form = $('settings').querySelector('form');
  form.querySelector('.apply').hidden = true;
  form.addEventListener('change', ({ target }) => {
    if (target.name === 'theme') {
      document.documentElement.dataset.theme = target.value;
      cookie('chat-theme', target.value);
    } else {
      form.elements.back.value = location.pathname + location.search;
      form.requestSubmit(); // the words are the server's
    }
  });
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && !document.cookie.includes(`chat-zone=${encodeURIComponent(zone)}`)) cookie('chat-zone', zone);
}
