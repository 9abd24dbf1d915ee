'use client'

import type { Message } from '@gohub/client'
import { memo, type FormEvent } from 'react'
import { useRoom } from './use-room'

export default function Chat({ url, user, first }: { url: string, user: string, first: Message[] }) {
  const { room, messages, unsent, typing, members, state } = useRoom(url, 'lobby', user, first)

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault()
    const form = event.currentTarget
    const text = new FormData(form).get('text')
    if (text) room.current?.send({ text })
    form.reset()
  }

  const status = new Map(unsent.map(u => [u.id, u.status]))
  return (
    <>
      <header>
        <h1>Lobby</h1>
        <span id="members">{members ? members + ' here' : ''}</span>
        <span id="state" role="status">{state}</span>
      </header>
      <div id="log" role="log" tabIndex={0} aria-label="Messages">
        <ol id="rows">
          {messages.map(m => <Row key={m.id} sender={m.sender} text={m.body?.text} seq={m.seq} status={status.get(m.id) ?? 'saved'} own={m.sender === user} />)}
          {unsent.filter(u => !messages.some(m => m.id === u.id)).map(u => <Row key={u.id} sender={user} text={u.body?.text} status={u.status} own />)}
        </ol>
      </div>
      <p id="typing">{typing.length ? typing.join(', ') + ' …' : ''}</p>
      <form id="form" onSubmit={submit}>
        <input id="text" name="text" aria-label="Message" autoComplete="off" autoFocus onChange={e => room.current?.typing(e.target.value !== '')} />
        <button>Send</button>
      </form>
    </>
  )
}

const Row = memo(function Row({ sender, text, seq, status, own }: { sender: string, text: string, seq?: number, status: string, own: boolean }) {
  return (
    <li data-seq={seq} data-status={status}>
      <b>{sender}</b> {seq && <small>{new Date(seq / 1000).toISOString().slice(11, 16)}</small>} <span>{text}</span>{' '}
      {own && <small>{status === 'saved' ? '✓' : status}</small>}
    </li>
  )
})
