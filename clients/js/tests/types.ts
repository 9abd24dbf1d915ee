// Compiled, never run: what a program in TypeScript sees of the package.
import { createClient, GohubError, type Client, type Message, type Outgoing, type OutboxStorage, type State } from '@gohub/client'

const storage: OutboxStorage = { adopt: async () => [], put: async () => {}, delete: async () => {} }
const client: Client = createClient({ url: '/ws', storage, token: async renew => renew ? { token: 't', expires: 1 } : undefined })
const undo: () => void = client.on('state', (state: State) => {
  if (state.name === 'waiting') state.retryAt.toFixed()
  if (state.name === 'closed') state.code.toFixed()
})
undo()
// @ts-expect-error there is no such event
client.on('stat', () => {})

const room = client.room('lobby')
room.on('message', (m: Message) => m.seq)
room.on('typing', users => users.join())
// @ts-expect-error the outside cannot make events
room.emit('typing', [])
// @ts-expect-error nor write the state
room.unread = 0
const sending: Outgoing = room.send({ text: 'hi' }, { to: 'bob' })
sending.sent.catch((err: unknown) => err instanceof GohubError && err.code === 'forbidden' && err.retryMs)

export async function read(signal: AbortSignal): Promise<void> {
  for await (const m of room.messages({ signal })) m.replaces?.toFixed()
  for await (const page of room.pages({ before: 1 })) page.watermarks.bob.seen.toFixed()
  const { said } = await client.call<{ said: string }>('echo', { say: 'hi' }, { signal })
  said.trim()
}
