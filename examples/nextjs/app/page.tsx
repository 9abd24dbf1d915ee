import { headers } from 'next/headers'
import Chat from './chat'
import { hub } from './hub'

/** The first paint: who you are and the newest messages, asked for with your cookie. */
export default async function Page() {
  const cookie = (await headers()).get('cookie') ?? ''
  const answer = await fetch(hub() + '/messages', { headers: { cookie }, cache: 'no-store' })
  if (answer.status === 401) {
    return (
      <form method="post" action="/login">
        <input name="user" aria-label="Your name" placeholder="Your name (a-z)" required autoFocus /><button>Enter</button>
      </form>
    )
  }
  if (!answer.ok) throw new Error('the Go server says ' + answer.status)
  const { user, messages } = await answer.json()
  return <Chat url={hub() + '/ws'} user={user} first={messages} />
}
