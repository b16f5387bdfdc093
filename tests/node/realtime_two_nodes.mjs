// Two official clients on two realtime processes of one project: broadcasts and presence cross between them. Prints one line
// per finished step; a member of another language is named OTHER and tracks {"speaks": "python"}.
//
//   node realtime_two_nodes.mjs URL_HERE URL_THERE ANON_KEY
import assert from 'node:assert/strict'
import { createClient } from '@supabase/supabase-js'
import ws from 'ws'

const [urlHere, urlThere, anonKey] = process.argv.slice(2)
const WAIT_MS = 60_000
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const done = (step) => console.log(step)

async function until(condition, what) {
  const deadline = Date.now() + WAIT_MS
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ${WAIT_MS} ms for ${what()}`)
    await pause(20)
  }
}

async function member(url, key) {
  const client = createClient(url, anonKey, { auth: { persistSession: false }, realtime: { transport: ws, timeout: WAIT_MS } })
  const channel = client.channel('room', { config: { presence: { key } } })
  const seen = { client, channel, joined: [], left: [], syncs: 0, broadcasts: [] }
  channel.on('presence', { event: 'sync' }, () => (seen.syncs += 1))
  channel.on('presence', { event: 'join' }, ({ key: who }) => seen.joined.push(who))
  channel.on('presence', { event: 'leave' }, ({ key: who }) => seen.left.push(who))
  channel.on('broadcast', { event: '*' }, (message) => seen.broadcasts.push(message))
  let status
  channel.subscribe((value) => (status = value))
  await until(() => status === 'SUBSCRIBED', () => `SUBSCRIBED, got ${status}`)
  return seen
}
const state = (one) =>
  Object.fromEntries(
    Object.entries(one.channel.presenceState()).map(([key, metas]) => [key, metas.map(({ presence_ref, ...rest }) => rest)])
  )
const equal = (one, expected) => {
  try {
    assert.deepEqual(state(one), expected)
    return true
  } catch {
    return false
  }
}
const shows = (one, expected) => until(() => equal(one, expected), () => `${JSON.stringify(expected)}, got ${JSON.stringify(state(one))}`)

const OTHER = { other: [{ speaks: 'python' }] }
const here = await member(urlHere, 'here')
const there = await member(urlThere, 'there')
for (const one of [here, there]) await shows(one, OTHER)
done('who was there already is in the first state')
await here.channel.track({ n: 1 })
await there.channel.track({ n: 2 })
for (const one of [here, there]) await shows(one, { ...OTHER, here: [{ n: 1 }], there: [{ n: 2 }] })
done('both see both')
await here.channel.track({ n: 3 })
await shows(there, { ...OTHER, here: [{ n: 3 }], there: [{ n: 2 }] })
done('an update replaced what was tracked')
const payload = new Uint8Array([0, 255, 1])
assert.equal(await here.channel.send({ type: 'broadcast', event: 'text', payload: { a: 1 } }), 'ok')
assert.equal(await here.channel.send({ type: 'broadcast', event: 'raw', payload: payload.buffer }), 'ok')
await until(() => there.broadcasts.length === 2, () => `two broadcasts, got ${there.broadcasts.length}`)
assert.deepEqual(there.broadcasts[0], { type: 'broadcast', event: 'text', payload: { a: 1 } })
assert.deepEqual([...new Uint8Array(there.broadcasts[1].payload)], [...payload])
done('broadcasts crossed')
await here.client.removeAllChannels()
await shows(there, { ...OTHER, there: [{ n: 2 }] })
assert.deepEqual(there.left.filter((key) => key === 'here').length >= 1, true)
done('who left is gone')
await there.client.removeAllChannels()
process.exit(0)
