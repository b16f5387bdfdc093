// Drives tables that the simple face made with the official @supabase/supabase-js, as an app would. Prints one line per finished
// step and ends with exit code 0; the first wrong answer ends it with an assertion.
//
//   node dynamic_tables.mjs URL ANON_KEY
import assert from 'node:assert/strict'
import { createClient } from '@supabase/supabase-js'
import ws from 'ws'

const [url, anonKey] = process.argv.slice(2)
const WAIT_MS = 60_000
const QUIET_MS = 500
const done = (step) => console.log(step)
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function until(condition, what) {
  const deadline = Date.now() + WAIT_MS
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ${WAIT_MS} ms for ${what}`)
    await pause(20)
  }
}

async function signedUp(name) {
  const client = createClient(url, anonKey, { auth: { persistSession: false }, realtime: { transport: ws, timeout: WAIT_MS } })
  const email = `${name}.dynamic.${process.pid}.${Date.now()}@example.com`
  const { data, error } = await client.auth.signUp({ email, password: 'password123' })
  assert.equal(error, null)
  await client.realtime.setAuth(data.session.access_token)
  return { client, id: data.user.id, token: data.session.access_token }
}

async function simple(who, method, path, body) {
  const answer = await fetch(`${url}/db${path}`, {
    method,
    headers: { authorization: `Bearer ${who.token}`, 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.clone().text()}`)
  return answer.json()
}

async function listening(who, schema, heard) {
  const channel = who.client.channel(`items of ${who.id}`)
  const systems = []
  channel.on('system', {}, (payload) => systems.push(payload))
  channel.on('postgres_changes', { event: '*', schema, table: 'items' }, (change) => heard.push(change))
  channel.subscribe()
  await until(() => systems.some((item) => item.message === 'Subscribed to PostgreSQL'), 'row changes')
  return channel
}

const alice = await signedUp('alice')
const bob = await signedUp('bob')
const database = await simple(alice, 'POST', '', { name: 'inventory' })
const tables = `/${database.database_id}/tables`
await simple(alice, 'POST', tables, { name: 'shelves', columns: [{ name: 'label', type: 'text' }], access: 'members' })
const items = await simple(alice, 'POST', tables, {
  name: 'items',
  access: 'members',
  realtime: true,
  columns: [
    { name: 'title', type: 'text', nullable: false },
    { name: 'quantity', type: 'integer', default: 1, check: 'quantity >= 0' },
    { name: 'shelf_id', type: 'uuid', references: { table: 'shelves' } },
  ],
})
done('tables were made')

const hers = alice.client.schema(database.schema)
const his = bob.client.schema(database.schema)
const shelf = await hers.from('shelves').insert({ label: 'top' }).select().single()
assert.equal(shelf.error, null)
const lamp = await hers.from('items').insert({ title: 'lamp', shelf_id: shelf.data.id }).select('*, shelves(label)').single()
assert.equal(lamp.error, null)
assert.deepEqual([lamp.data.owner, lamp.data.quantity, lamp.data.shelves], [alice.id, 1, { label: 'top' }])
assert.equal((await hers.from('items').upsert({ id: lamp.data.id, title: 'desk lamp' })).error, null)
const read = await hers.from('items').select('title', { count: 'exact' }).ilike('title', '%lamp')
assert.deepEqual([read.data, read.count], [[{ title: 'desk lamp' }], 1])
const negative = await hers.from('items').insert({ title: 'nothing', quantity: -1 })
assert.equal(negative.error.code, '23514')
done('their owner read and wrote them through schema()')

assert.deepEqual((await his.from('items').select('*')).data, [])
assert.equal((await his.from('items').insert({ title: 'mine' })).error.code, '42501')
assert.deepEqual((await his.from('items').update({ title: 'x' }).eq('id', lamp.data.id).select()).data, [])
const anon = createClient(url, anonKey, { auth: { persistSession: false }, realtime: { transport: ws, timeout: WAIT_MS } }).schema(database.schema)
assert.equal((await anon.from('items').select('*')).error.code, '42501')
done('a stranger and anon saw and changed nothing')

const toAlice = []
const toBob = []
await listening(alice, database.schema, toAlice)
await listening(bob, database.schema, toBob)
await hers.from('items').insert({ title: 'first' })
await until(() => toAlice.length === 1, 'an insert')
assert.deepEqual([toAlice[0].eventType, toAlice[0].new.title], ['INSERT', 'first'])
await pause(QUIET_MS)
assert.deepEqual(toBob, [])
done('row changes reached the owner and no stranger')

await simple(alice, 'POST', `/${database.database_id}/members`, { user_id: bob.id, role: 'reader' })
await hers.from('items').update({ title: 'second' }).eq('title', 'first')
await until(() => toAlice.length === 2 && toBob.length === 1, 'an update')
assert.deepEqual([toBob[0].eventType, toBob[0].new.title], ['UPDATE', 'second'])
assert.deepEqual((await his.from('items').select('title').eq('title', 'second')).data, [{ title: 'second' }])
assert.equal((await his.from('items').insert({ title: 'mine' })).error.code, '42501')
done('a reader saw rows and their changes, and wrote none')

await simple(alice, 'PATCH', `${tables}/${items.table_id}`, {
  realtime: false,
  columns: { rename: { title: 'label' }, add: [{ name: 'price', type: 'numeric(8,2)' }] },
})
const priced = await hers.from('items').insert({ label: 'third', price: 9.5 }).select('label, price').single()
assert.deepEqual(priced.data, { label: 'third', price: 9.5 })
await pause(QUIET_MS)
assert.equal(toAlice.length, 2)
done('a changed table was there at once, and its changes were sent no more')

await simple(alice, 'DELETE', `/${database.database_id}`)
await alice.client.removeAllChannels()
await bob.client.removeAllChannels()
done('the database was dropped')
process.exit(0)
