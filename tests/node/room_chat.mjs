// Talks in a room with the official @supabase/supabase-js, on the private channel room:ID. Prints one line per finished step and
// ends with exit code 0; the first wrong answer ends it with an assertion. "say" on its output asks the test to say something.
//
//   node room_chat.mjs URL ANON_KEY MEMBER_TOKEN STRANGER_TOKEN
import assert from 'node:assert/strict'
import { createClient } from '@supabase/supabase-js'
import ws from 'ws'

const [url, anonKey, member, stranger] = process.argv.slice(2)
const WAIT_MS = 60_000
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
async function until(condition, what) {
  const deadline = Date.now() + WAIT_MS
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ${WAIT_MS} ms for ${what}`)
    await pause(20)
  }
}
async function joined(token, config = {}) {
  const client = createClient(url, anonKey, {
    auth: { persistSession: false },
    accessToken: async () => token,
    realtime: { transport: ws, timeout: WAIT_MS },
  })
  await client.realtime.setAuth()
  const messages = []
  const statuses = []
  const channel = client.channel('room:plans', { config: { private: true, broadcast: { ack: true }, ...config } })
  channel.on('broadcast', { event: 'message' }, (message) => messages.push(message))
  channel.on('presence', { event: 'sync' }, () => {})
  channel.subscribe((status, error) => statuses.push([status, error?.message]))
  await until(() => statuses.length > 0, 'an answer to the join')
  return { client, channel, messages, statuses }
}

const bob = await joined(member)
assert.equal(bob.statuses[0][0], 'SUBSCRIBED')
console.log('a member joined')
await until(() => Object.keys(bob.channel.presenceState()).length === 1, 'presence of the other face')
console.log('presence was synchronised')

console.log('say')
await until(() => bob.messages.length === 1, 'a message of the other face')
assert.equal(bob.messages[0].payload.message, 'hello from JSON')
assert.equal(bob.messages[0].payload.seq, 1)
assert.equal(bob.messages[0].meta.id, bob.messages[0].payload.id)
console.log('a message was received')

const payload = { message: { text: 'hello from supabase-js' }, clientId: 'js-1' }
assert.equal(await bob.channel.send({ type: 'broadcast', event: 'message', payload }), 'ok')
assert.equal(await bob.channel.send({ type: 'broadcast', event: 'message', payload }), 'ok')
await until(() => bob.messages.length === 2, 'its own message')
assert.deepEqual(bob.messages[1].payload.message, payload.message)
assert.equal(bob.messages[1].payload.seq, 2)
await pause(300)
assert.equal(bob.messages.length, 2)
console.log('a message was stored once and came back')

const carol = await joined(stranger)
assert.equal(carol.statuses[0][0], 'CHANNEL_ERROR')
console.log('a stranger was refused')
for (const { client } of [bob, carol]) await client.removeAllChannels()
process.exit(0)
