// What HTMX has no attribute for: where to go on after a reconnect, ids, and rows before the server's answer.
const $ = id => document.getElementById(id)

document.addEventListener('htmx:ws:before:connection', ({ detail: { connection } }) => {
  const url = new URL(connection.url)
  url.searchParams.set('since', $('rows').lastElementChild?.dataset.seq ?? 0)
  connection.url = url.href
})
document.addEventListener('htmx:ws:after:connection', () => { $('state').textContent = 'connected' })
document.addEventListener('htmx:ws:close', () => { $('state').textContent = 'waiting' })

document.addEventListener('htmx:ws:before:message:outgoing', event => {
  const { values } = event.detail.message
  if (values.typing) return
  if (!values.text) return event.preventDefault()
  values.id = crypto.randomUUID()
  const row = $('pending').content.cloneNode(true).firstElementChild
  row.id = 'p-' + values.id
  row.children[1].textContent = values.text
  $('sending').append(row)
  $('form').reset()
})
