// Drives realtime with the official @supabase/supabase-js, as an app would. Prints one line per finished step and ends with
// exit code 0; the first wrong answer ends it with an assertion. Lines "sql: NAME" and "socket: cut" ask the test to do that.
//
//   node realtime_channels.mjs URL ANON_KEY ALICE_TOKEN BOB_TOKEN ALICE_SECOND_TOKEN
import assert from 'node:assert/strict'
import { createClient } from '@supabase/supabase-js'
import ws from 'ws'

const [url, anonKey, alice, bob, aliceAgain] = process.argv.slice(2)
const WAIT_MS = 60_000
const QUIET_MS = 400
const clients = []

// A channel that is subscribed to in the same tick as its client is made joins with the API key: the token comes later.
async function clientFor(token, heartbeatIntervalMs = 15_000) {
  const client = createClient(url, anonKey, {
    auth: { persistSession: false },
    accessToken: token ? async () => token.current : undefined,
    realtime: { transport: ws, heartbeatIntervalMs, timeout: WAIT_MS },
  })
  clients.push(client)
  if (token) await client.realtime.setAuth()
  return client
}
const done = (step) => console.log(step)
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function until(condition, what) {
  const deadline = Date.now() + WAIT_MS
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ${WAIT_MS} ms for ${what}`)
    await pause(20)
  }
}

// Subscribes and waits; with row changes also until the server says that they are live.
async function subscribed(channel, withChanges = false) {
  const systems = []
  const statuses = []
  channel.on('system', {}, (payload) => systems.push(payload))
  channel.subscribe((status, error) => statuses.push([status, error?.message]))
  await until(() => statuses.some(([status]) => status === 'SUBSCRIBED'), `SUBSCRIBED, got ${JSON.stringify(statuses)}`)
  if (withChanges) await until(() => systems.some((item) => item.message === 'Subscribed to PostgreSQL'), 'row changes')
  return { channel, systems, statuses }
}

// Heartbeats, so often that a server which stands still for a moment would lose the socket: nobody else's.
const beats = []
const beating = await clientFor(undefined, 500)
beating.realtime.onHeartbeat((status) => beats.push(status))
await subscribed(beating.channel('beats'))
await until(() => beats.includes('ok'), 'a heartbeat that is answered')
done('a heartbeat was answered')

// Broadcasts
const sender = (await clientFor()).channel('room', { config: { broadcast: { ack: true } } })
const receiver = (await clientFor()).channel('room')
const received = []
receiver.on('broadcast', { event: '*' }, (message) => received.push(message))
await subscribed(receiver)
const unsubscribed = (await clientFor()).channel('room')
await subscribed(sender)
assert.equal(await sender.send({ type: 'broadcast', event: 'hi', payload: { a: 1 } }), 'ok')
await until(() => received.length === 1, 'a broadcast')
assert.deepEqual(received[0], { type: 'broadcast', event: 'hi', payload: { a: 1 } })
done('a broadcast was received')
done('a broadcast was acknowledged')
await sender.send({ type: 'broadcast', event: 'raw', payload: new Uint8Array([0, 255, 1]).buffer })
await until(() => received.length === 2, 'a binary broadcast')
assert.deepEqual([...new Uint8Array(received[1].payload)], [0, 255, 1])
done('a raw binary broadcast was received')
assert.equal(await unsubscribed.send({ type: 'broadcast', event: 'http', payload: { a: 2 } }), 'ok')
await until(() => received.length === 3, 'a broadcast over HTTP')
assert.deepEqual(received[2].payload, { a: 2 })
done('a broadcast was sent over HTTP')
assert.deepEqual(await unsubscribed.httpSend('http', { a: 3 }), { success: true })
await until(() => received.length === 4, 'a broadcast by httpSend')
assert.deepEqual(received[3].payload, { a: 3 })
done('a broadcast was sent with httpSend')

// Presence
const here = (await clientFor()).channel('presence', { config: { presence: { key: 'one' } } })
const there = (await clientFor()).channel('presence', { config: { presence: { key: 'two' } } })
for (const channel of [here, there]) channel.on('presence', { event: 'sync' }, () => {})
await subscribed(here)
await subscribed(there)
assert.equal(await here.track({ mood: 'good' }), 'ok')
await until(() => there.presenceState().one?.[0]?.mood === 'good', 'presence of the other')
assert.equal(await here.track({ mood: 'better' }), 'ok')
await until(() => there.presenceState().one?.[0]?.mood === 'better', 'the changed presence')
assert.equal(there.presenceState().one.length, 1)
assert.equal(await here.untrack(), 'ok')
await until(() => !there.presenceState().one, 'the end of the presence')
done('presence was synchronised')

// Row changes
const aliceToken = { current: alice }
const aliceRows = []
const bobRows = []
const anonRows = []
const rows = (client, topic, into) =>
  subscribed(
    client.channel(topic).on('postgres_changes', { event: '*', schema: 'public', table: 'notes' }, (change) => into.push(change)),
    true,
  )
const aliceClient = await clientFor(aliceToken)
const aliceNotes = await rows(aliceClient, 'notes', aliceRows)
await rows(await clientFor({ current: bob }), 'notes', bobRows)
await rows(await clientFor(), 'notes', anonRows)
console.log('sql: notes')
await until(() => aliceRows.length && bobRows.length, 'row changes of the owners')
assert.equal(aliceRows[0].new.body, 'alice')
assert.equal(aliceRows[0].eventType, 'INSERT')
assert.equal(aliceRows[0].errors, null)
done('the owner got its row changes')
await pause(QUIET_MS)
assert.deepEqual([aliceRows.length, bobRows.length, anonRows.length], [1, 1, 0])
assert.equal(bobRows[0].new.body, 'bob')
done('a stranger and anon got nothing')

const high = []
const all = []
await subscribed(
  (await clientFor())
    .channel('board')
    .on('postgres_changes', { event: 'INSERT', schema: 'public', table: 'board', filter: 'rank=gt.1' }, (change) => high.push(change))
    .on('postgres_changes', { event: '*', schema: 'public', table: 'board' }, (change) => all.push(change)),
  true,
)
console.log('sql: board')
await until(() => all.length === 2, 'both rows')
assert.deepEqual(high.map((change) => change.new.body), ['high'])
assert.deepEqual(all.map((change) => change.new.rank), [1, 2])
done('a filter and two bindings told rows apart')

aliceToken.current = aliceAgain
await aliceClient.realtime.setAuth()
await until(() => aliceNotes.systems.filter((item) => item.status === 'ok').length > 1, 'the subscription under the new token')
aliceRows.length = 0
console.log('sql: notes')
await until(() => aliceRows.length === 1, 'a row under the new token')
assert.equal(aliceRows[0].new.body, 'alice')
done('a new token was taken')

const refusals = []
const stranger = await clientFor({ current: alice })
stranger
  .channel('secret', { config: { private: true } })
  .subscribe((status, error) => refusals.push([status, error?.message ?? '']))
await until(() => refusals.length, 'a refusal')
assert.equal(refusals[0][0], 'CHANNEL_ERROR')
assert.match(refusals[0][1], /You do not have permissions to read from this Channel topic: secret/)
done('a private channel was refused')

// A dropped socket: every channel joins again by itself
const before = aliceNotes.systems.length
console.log('socket: cut')
await until(() => aliceNotes.systems.slice(before).some((item) => item.message === 'Subscribed to PostgreSQL'), 'the rejoin')
aliceRows.length = 0
console.log('sql: notes')
await until(() => aliceRows.length === 1, 'a row after the rejoin')
done('the connection came back after a restart of the socket')

for (const client of clients) await client.removeAllChannels()
process.exit(0)
