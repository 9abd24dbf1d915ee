import { createClient } from '/gohub.js'

const $ = id => document.getElementById(id)
const { user } = document.body.dataset
if (user) chat()

function chat () {
  const client = createClient({ url: '/ws', user })
  const room = client.room('lobby')

  function row ({ id, sender, body }) {
    const known = $('m-' + id)
    if (known) return known
    const li = document.createElement('li')
    li.id = 'm-' + id
    li.append(Object.assign(document.createElement('b'), { textContent: sender }), ' ',
      Object.assign(document.createElement('small'), { textContent: new Date().toISOString().slice(11, 16) }), ' ',
      Object.assign(document.createElement('span'), { textContent: body?.text }), ' ',
      document.createElement('small'))
    $('rows').append(li)
    return li
  }

  function tick (li, status) {
    li.dataset.status = status
    li.lastChild.textContent = status === 'saved' ? '✓' : status
  }

  room.on('message', message => {
    const li = row(message)
    li.dataset.seq = message.seq
    if (li.nextSibling) $('rows').append(li) // its place is where the room has it
  })
  room.on('outgoing', message => tick(row({ ...message, sender: user }), message.status))
  room.on('typing', users => { $('typing').textContent = users.length ? users.join(', ') + ' …' : '' })
  const count = ({ members, count = members }) => { $('members').textContent = count + ' here' }
  room.on('joined', count)
  room.on('members', count)
  client.on('state', state => { $('state').textContent = state.name })

  $('text').oninput = () => room.typing($('text').value !== '')
  $('form').onsubmit = event => {
    event.preventDefault()
    if ($('text').value) room.send({ text: $('text').value })
    $('text').value = ''
  }
  room.join({ since: Number($('rows').lastElementChild?.dataset.seq ?? 0) }).catch(() => {})
}
