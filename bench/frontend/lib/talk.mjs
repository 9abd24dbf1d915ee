// Users in Node.js, on the SDK: they fill the room and keep it busy.
import WebSocket from 'ws'
import { createClient } from '../../../clients/js/dist/gohub.js'

/** Logs in by POST, as the pages' form does, and gives the cookies. */
export async function logIn (target, user) {
  const answer = await fetch(target.login, {
    method: 'POST',
    body: new URLSearchParams({ [target.field]: user }),
    headers: { Origin: new URL(target.login).origin },
    redirect: 'manual'
  })
  const cookies = answer.headers.getSetCookie()
  if (answer.status >= 400 || !cookies.length) throw Error(`login of ${user} at ${target.login}: ${answer.status} ${await answer.text()}`)
  return cookies.map(c => c.split(';')[0])
}

/** count users in the target's room. say(texts, rate) sends, at most rate messages a second, and ends when all are stored. */
export async function talkers (target, count) {
  const users = await Promise.all(Array.from({ length: count }, async (_, i) => {
    const cookie = (await logIn(target, `talker-${i}`)).join('; ')
    class Socket extends WebSocket {
      constructor (url, protocols) { super(url, protocols, { headers: { Cookie: cookie } }) }
    }
    const client = createClient({ url: target.ws, WebSocket: Socket, storage: null })
    const room = client.room(target.room)
    await room.join({ since: 9e15, signal: AbortSignal.timeout(10_000) })
    return { client, room }
  }))
  return {
    async say (texts, rate = Infinity) {
      const begun = performance.now()
      const sent = []
      for (const [i, text] of texts.entries()) {
        const early = begun + i / rate * 1000 - performance.now()
        if (early > 0) await new Promise(resolve => setTimeout(resolve, early))
        sent.push(users[i % count].room.send({ text }).sent)
      }
      await Promise.all(sent)
    },
    close () { for (const { client } of users) client.close() }
  }
}

const words = 'the harbour was quiet when we came back with the boats and nobody had seen the storm that was to come by night'.split(' ')

/** n messages of 3 to 40 words, the same each time. */
export const prose = (n, name = 'seed') => Array.from({ length: n }, (_, i) =>
  `${name}-${i} ` + Array.from({ length: 3 + i * 7 % 38 }, (_, j) => words[(i + j * 3) % words.length]).join(' '))
