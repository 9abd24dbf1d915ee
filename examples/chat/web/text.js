// The text of a message: what is a link in it, and what is nothing but emoji.

// The server looks for the same (view.go). What ends the sentence around it does not belong to a link, but a bracket
// that it has opened itself does.
const LINK = /\bhttps?:\/\/[^\s<>"./][^\s<>"]*|\bmailto:[^\s<>"]+@[^\s<>"]+/g;
const TRAILING = /[.,;:!?'*_)\]}]$/;
const OPENS = { ')': '(', ']': '[', '}': '{' };
const EMOJI = /^(?:(?:\p{Extended_Pictographic}|\p{Regional_Indicator}{2}|[#*\d]\uFE0F?\u20E3)[\uFE0F\u{1F3FB}-\u{1F3FF}\u{E0020}-\u{E007F}]*(?:\u200D\p{Extended_Pictographic}[\uFE0F\u{1F3FB}-\u{1F3FF}]*)*\s*){1,6}$/u;
const ALLOWED = new Set(['http:', 'https:', 'mailto:']);

export const onlyEmoji = (text) => text.length <= 60 && EMOJI.test(text.trim());

const count = (text, c) => text.split(c).length - 1;

function trim(address) {
  while (TRAILING.test(address)) {
    const last = address.at(-1);
    if (last in OPENS && count(address, OPENS[last]) >= count(address, last)) break;
    address = address.slice(0, -1);
  }
  return address;
}

// parts cuts text into pieces {text, href?}.
export function parts(text) {
  const out = [];
  let from = 0;
  for (const { 0: found, index } of text.matchAll(LINK)) {
    const address = trim(found);
    if (!URL.canParse(address) || !ALLOWED.has(new URL(address).protocol)) continue;
    if (index > from) out.push({ text: text.slice(from, index) });
    out.push({ text: address, href: address });
    from = index + address.length;
  }
  if (from < text.length) out.push({ text: text.slice(from) });
  return out;
}

// write fills e with text. Its links lead out of the page and tell nobody from where; they are in reach of the Tab
// key while their message is.
export function write(e, text) {
  e.replaceChildren(...parts(text).map(({ text, href }) => {
    if (!href) return text;
    return Object.assign(document.createElement('a'), { href, textContent: text, target: '_blank', rel: 'noopener noreferrer nofollow ugc', tabIndex: -1 });
  }));
}

// textOf is what can be shown of a body.
export function textOf(body, binary) {
  if (body instanceof Uint8Array) return binary;
  if (typeof body === 'string') return body;
  return typeof body?.text === 'string' ? body.text : JSON.stringify(body);
}
