// Three clients of the official @supabase/supabase-js in one room, while the server and then PostgreSQL restart. Prints one line
// per finished step and ends with exit code 0. Lines "restart: server", "restart: postgres" and "sql: NUMBER" (a note of Alice's
// with that number) ask the test to do that.
//
//   node realtime_restarts.mjs URL ANON_KEY ALICE_TOKEN
import assert from 'node:assert/strict'
import { createClient } from '@supabase/supabase-js'
import ws from 'ws'

const [url, anonKey, alice] = process.argv.slice(2)
const WAIT_MS = 60_000
const done = (step) => console.log(step)

async function until(condition, what) {
  const deadline = Date.now() + WAIT_MS
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ${WAIT_MS} ms for ${what()}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

// As apps do it: tracked each time that the channel is joined, and that is what brings a client back after a restart.
async function member(key, token) {
  const client = createClient(url, anonKey, {
    auth: { persistSession: false },
    accessToken: token ? async () => token : undefined,
    realtime: { transport: ws, heartbeatIntervalMs: 1000 },
  })
  if (token) await client.realtime.setAuth()
  const one = { key, client, joins: 0, live: 0, rows: [], broadcasts: [], left: [] }
  one.channel = client.channel('room', { config: { presence: { key } } })
  one.channel
    .on('presence', { event: 'leave' }, ({ key: who }) => one.left.push(who))
    .on('broadcast', { event: 'hi' }, ({ payload }) => one.broadcasts.push(payload.from))
    .on('system', {}, ({ message }) => (one.live += message === 'Subscribed to PostgreSQL'))
  if (token) {
    const notes = { event: 'INSERT', schema: 'public', table: 'notes' }
    one.channel.on('postgres_changes', notes, (change) => one.rows.push(change.new.number))
  }
  one.channel.subscribe((status) => {
    if (status !== 'SUBSCRIBED') return
    one.joins += 1
    one.channel.track({ of: key })
  })
  await until(() => one.joins === 1 && (!token || one.live === 1), () => `${key} to be joined`)
  return one
}

const present = (one) =>
  Object.entries(one.channel.presenceState())
    .map(([key, metas]) => `${key}: ${metas.map((meta) => meta.of)}`)
    .sort()
const everybodySees = async (members) => {
  const expected = members.map(({ key }) => `${key}: ${key}`).sort()
  for (const one of members)
    await until(() => `${present(one)}` === `${expected}`, () => `${expected} at ${one.key}, which shows ${present(one)}`)
}
const reachesTheOthers = async (sender, members) => {
  for (const one of members) one.broadcasts.length = 0
  assert.equal(await sender.channel.send({ type: 'broadcast', event: 'hi', payload: { from: sender.key } }), 'ok')
  for (const one of members)
    if (one !== sender) await until(() => one.broadcasts.length, () => `a broadcast of ${sender.key} at ${one.key}`)
}

const owner = await member('one', alice)
const second = await member('two')
let third = await member('three')
await everybodySees([owner, second, third])
done('three see three')

await third.client.removeAllChannels()
await everybodySees([owner, second])
assert.ok(owner.left.includes('three') && second.left.includes('three'))
third = await member('three')
const members = [owner, second, third]
await everybodySees(members)
done('who left is gone, and seen again when back')

console.log('sql: 1')
await until(() => owner.rows.length === 1, () => 'the first note')
const before = members.map(({ joins }) => joins)
console.log('restart: server')
for (const [index, one] of members.entries()) await until(() => one.joins > before[index], () => `${one.key} to join again`)
await everybodySees(members)
await reachesTheOthers(second, members)
await until(() => owner.live > 1, () => 'row changes to be live again')
console.log('sql: 2')
await until(() => owner.rows.includes(2), () => `the second note, got ${owner.rows}`)
done('all of it came back after the server restarted')

const joinsBefore = members.map(({ joins }) => joins)
console.log('restart: postgres')
await reachesTheOthers(third, members)
console.log('sql: 3')
await until(() => owner.rows.includes(3), () => `the third note, got ${owner.rows}`)
await everybodySees(members)
assert.deepEqual(members.map(({ joins }) => joins), joinsBefore)
assert.deepEqual(owner.rows, [1, 2, 3])
done('row changes came back after PostgreSQL restarted, and nobody had to join again')

for (const { client } of members) await client.removeAllChannels()
process.exit(0)
