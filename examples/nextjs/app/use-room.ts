import { createClient, type Message, type Room, type Status } from '@gohub/client'
import { useEffect, useRef, useState } from 'react'

export interface Unsent { id: string, body: any, status: Status }

/** A room, live; first are its newest messages as the server has rendered them. Another room: another key. */
export function useRoom(url: string, name: string, user: string, first: Message[]) {
  const room = useRef<Room>(undefined)
  const [messages, setMessages] = useState(first)
  const [unsent, setUnsent] = useState<Unsent[]>([])
  const [typing, setTyping] = useState<string[]>([])
  const [members, setMembers] = useState(0)
  const [state, setState] = useState('idle')
  useEffect(() => {
    const client = createClient({ url, user }) // here, since what renders also runs in Node.js
    const r = room.current = client.room(name)
    const undo = [
      client.on('state', s => setState(s.name)),
      r.on('message', m => setMessages(all => m.seq <= (all.at(-1)?.seq ?? 0) ? all : [...all.filter(o => o.seq !== m.replaces), m])),
      r.on('outgoing', () => setUnsent(r.outgoing.map(({ id, body, status }) => ({ id, body, status })))),
      r.on('typing', setTyping),
      r.on('joined', e => setMembers(e.members)),
      r.on('members', e => setMembers(e.count))
    ]
    r.join({ since: first.at(-1)?.seq ?? 0 }).catch(() => {}) // state tells why
    return () => { undo.forEach(f => f()); client.close() }
  }, [url, name, user])
  return { room, messages, unsent, typing, members, state }
}
