// The fields for names say what is wrong below them, in the page's language: the browser's own bubble would cover the
// hint, and stay there. Without scripts the server says the same.

document.addEventListener('submit', (e) => {
  const field = e.target.querySelector('[data-refusal]');
  if (!field) return;
  field.value = field.value.trim();
  if (field.validity.valid) return;
  e.preventDefault();
  e.stopPropagation(); // nobody else hears of it
  say(field, field.dataset.refusal);
  field.focus();
}, { capture: true });

document.addEventListener('input', ({ target }) => target.dataset.refusal && say(target, ''));

function say(field, words) {
  if (words) field.setAttribute('aria-invalid', 'true');
  else field.removeAttribute('aria-invalid');
  document.getElementById(`${field.id}-error`).textContent = words;
}
