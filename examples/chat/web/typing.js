// Who is typing. It is not read out: it comes and goes too often.

import { $, setText } from './dom.js';
import { on } from './events.js';
import { t } from './i18n.js';
import { conversation } from './log.js';

export function startTyping() {
  on('typing', paint);
  on('open', paint);
}

function paint(c) {
  if (c !== conversation()) return;
  const [a, b, ...more] = c.typing;
  setText($('typing'), a === undefined ? '' : more.length ? t('typing.many') : b === undefined ? t('typing.one', { a }) : t('typing.two', { a, b }));
}
