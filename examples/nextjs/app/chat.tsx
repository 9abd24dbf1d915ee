'use client'

import type { Message } from '@gohub/client'
import { memo, type FormEvent } from 'react'
import { useRoom } from './use-room'

/** What there is to read in a body, which is whatever its sender likes. React stops at an object. */
const textOf = (body: any) => typeof body?.text === 'string' ? body.text : ''

/** An id is its sender's: two may use the same. */
const keyOf = (sender: string, id: string) => sender + ' ' + id

export default function Chat({ url, user, first }: { url: string, user: string, first: Message[] }) {
  const { room, messages, unsent, typing, members, state } = useRoom(url, 'lobby', user, first)

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault()
    const form = event.currentTarget
    const text = new FormData(form).get('text')
    if (text) room.current?.send({ text })
    form.reset()
  }

  const status = new Map(unsent.map(u => [keyOf(user, u.id), u.status]))
  const here = new Set(messages.map(m => keyOf(m.sender, m.id)))
  return (
    <>
      <header>
        <h1>Lobby</h1>
        <span id="members">{members ? members + ' here' : ''}</span>
        <span id="state" role="status">{state}</span>
      </header>
      <div id="log" role="log" tabIndex={0} aria-label="Messages">
        <ol id="rows">
          {messages.map(m => <Row key={keyOf(m.sender, m.id)} sender={m.sender} text={textOf(m.body)} seq={m.seq} status={status.get(keyOf(m.sender, m.id)) ?? 'saved'} own={m.sender === user} />)}
          {unsent.filter(u => !here.has(keyOf(user, u.id))).map(u => <Row key={keyOf(user, u.id)} sender={user} text={textOf(u.body)} status={u.status} own />)}
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
