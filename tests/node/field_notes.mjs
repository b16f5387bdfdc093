// Drives the sample project with the official @supabase/supabase-js, as an app would. Prints one line per finished step and
// ends with exit code 0; the first wrong answer ends it with an assertion. The suite compares the list of steps.
//
//   node field_notes.mjs URL ANON_KEY
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { createClient } from '@supabase/supabase-js'
import ws from 'ws'

const [url, anonKey] = process.argv.slice(2)
const WAIT_MS = 60_000
const password = 'password123'
const run = randomUUID().slice(0, 8)

const clientFor = () => createClient(url, anonKey, { auth: { persistSession: false }, realtime: { transport: ws, timeout: WAIT_MS } })
const done = (step) => console.log(step)

function unwrap({ data, error }) {
  assert.equal(error, null, error?.message)
  return data
}

async function until(condition, what) {
  const deadline = Date.now() + WAIT_MS
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ${WAIT_MS} ms for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

// Resolves when the channel is joined; a channel with row changes also waits for the word that they are live.
async function subscribed(channel, { rowChanges = false } = {}) {
  let joined = false
  let live = !rowChanges
  let failure
  channel.on('system', {}, (message) => {
    if (message.extension === 'postgres_changes' && message.status === 'ok') live = true
  })
  channel.subscribe((status, error) => {
    if (status === 'SUBSCRIBED') joined = true
    if (status === 'CHANNEL_ERROR' || status === 'TIMED_OUT') failure = error ?? new Error(status)
  })
  await until(() => failure || (joined && live), 'the channel to be joined')
  if (failure) throw failure
  return channel
}

const alice = clientFor()
const bob = clientFor()
const anon = clientFor()

const aliceId = unwrap(
  await alice.auth.signUp({ email: `alice-${run}@example.com`, password, options: { data: { username: `alice_${run}` } } })
).user.id
const bobId = unwrap(await bob.auth.signUp({ email: `bob-${run}@example.com`, password })).user.id
done('signed up')

unwrap(await alice.auth.signOut())
const again = unwrap(await alice.auth.signInWithPassword({ email: `alice-${run}@example.com`, password }))
assert.equal(again.user.id, aliceId)
assert.equal(unwrap(await alice.auth.getUser()).user.email, `alice-${run}@example.com`)
const wrong = await clientFor().auth.signInWithPassword({ email: `alice-${run}@example.com`, password: 'wrong-password' })
assert.equal(wrong.error.code, 'invalid_credentials')
const before = again.session.refresh_token
assert.notEqual(unwrap(await alice.auth.refreshSession()).session.refresh_token, before)
done('signed in')

const seeded = clientFor()
unwrap(await seeded.auth.signInWithPassword({ email: 'alice@example.com', password }))
assert.ok(unwrap(await seeded.from('notes').select('title')).length >= 2)
unwrap(await seeded.auth.signOut())
done('a seeded user signed in')

const profile = unwrap(await alice.from('profiles').select('*').eq('id', aliceId).single())
assert.equal(profile.username, `alice_${run}`)
done('the trigger on auth.users made the profile')

const project = unwrap(await alice.from('projects').insert({ name: `Meadow ${run}` }).select().single())
assert.equal(project.created_by, aliceId)
const notes = unwrap(
  await alice
    .from('notes')
    .insert(
      [
        { project_id: project.id, title: 'Orchids', body: 'Twelve spikes', weather: { sky: 'clear' } },
        { project_id: project.id, title: 'Bees', body: 'Too many to count, all over the clover' },
      ],
      { defaultToNull: false }
    )
    .select('id, title, word_count')
)
assert.deepEqual(notes.map((note) => note.word_count), [2, 8])
done('rows were inserted')

const read = unwrap(
  await alice
    .from('notes')
    .select('title, weather->>sky, projects(name), profiles(username)')
    .eq('project_id', project.id)
    .or('title.eq.Orchids,title.ilike.b%')
    .order('title', { ascending: false })
)
assert.deepEqual(read, [
  { title: 'Orchids', sky: 'clear', projects: { name: `Meadow ${run}` }, profiles: { username: `alice_${run}` } },
  { title: 'Bees', sky: null, projects: { name: `Meadow ${run}` }, profiles: { username: `alice_${run}` } },
])
const counted = await alice.from('notes').select('*', { count: 'exact', head: true }).eq('project_id', project.id)
assert.equal(counted.count, 2)
done('rows were read with filters, order and embeds')

const changed = unwrap(await alice.from('notes').update({ title: 'Bee orchids' }).eq('title', 'Orchids').eq('project_id', project.id).select())
assert.equal(changed[0].title, 'Bee orchids')
const tag = unwrap(await alice.from('tags').upsert({ name: `orchids-${run}` }, { onConflict: 'name' }).select().single())
unwrap(await alice.from('note_tags').insert({ note_id: changed[0].id, tag_id: tag.id }))
const tagged = unwrap(await alice.from('notes').select('title, tags(name)').eq('id', changed[0].id).single())
assert.deepEqual(tagged, { title: 'Bee orchids', tags: [{ name: `orchids-${run}` }] })
done('rows were updated and upserted')

const found = unwrap(await alice.rpc('search_notes', { search_text: 'orchid' }))
assert.deepEqual(found.map((note) => note.title), ['Bee orchids'])
assert.equal(unwrap(await alice.rpc('project_stats', { project: project.id })).notes, 2)
done('functions were called')

for (const stranger of [bob, anon]) {
  assert.deepEqual(unwrap(await stranger.from('notes').select('*').eq('project_id', project.id)), [])
  assert.deepEqual(unwrap(await stranger.from('notes').update({ title: 'mine' }).eq('project_id', project.id).select()), [])
  assert.deepEqual(unwrap(await stranger.from('notes').delete().eq('project_id', project.id).select()), [])
}
const forged = await bob.from('notes').insert({ project_id: project.id, title: 'x', author_id: aliceId })
assert.equal(forged.error.code, '42501')
assert.equal(forged.status, 403)
assert.equal((await anon.from('notes').insert({ project_id: project.id, title: 'x' })).status, 401)
assert.equal(unwrap(await bob.rpc('project_stats', { project: project.id })), null)
assert.equal(unwrap(await alice.from('notes').select('*').eq('project_id', project.id)).length, 2)
done('a second user and anon saw and changed nothing')

const path = `${aliceId}/2026/orchid.txt`
unwrap(await alice.storage.from('photos').upload(path, 'twelve spikes', { contentType: 'text/plain' }))
assert.equal(await unwrap(await alice.storage.from('photos').download(path)).text(), 'twelve spikes')
assert.deepEqual(unwrap(await alice.storage.from('photos').list(`${aliceId}/2026`)).map((file) => file.name), ['orchid.txt'])
const signed = unwrap(await alice.storage.from('photos').createSignedUrl(path, 60))
assert.equal(await (await fetch(signed.signedUrl)).text(), 'twelve spikes')
for (const stranger of [bob, anon]) {
  assert.notEqual((await stranger.storage.from('photos').download(path)).error, null)
  assert.deepEqual(unwrap(await stranger.storage.from('photos').list(`${aliceId}/2026`)), [])
  assert.equal((await stranger.storage.from('photos').upload(`${aliceId}/x.txt`, 'x', { contentType: 'text/plain' })).error.statusCode, '403')
}
assert.equal((await alice.storage.from('photos').upload(`${aliceId}/x.exe`, 'x', { contentType: 'application/x-msdownload' })).error.statusCode, '415')
done('a file was uploaded and downloaded under policies')

unwrap(await alice.storage.from('avatars').upload(`${aliceId}/me.png`, Buffer.from('89504e470d0a1a0a', 'hex'), { contentType: 'image/png' }))
const publicUrl = anon.storage.from('avatars').getPublicUrl(`${aliceId}/me.png`).data.publicUrl
assert.equal((await fetch(publicUrl)).headers.get('content-type'), 'image/png')
assert.deepEqual(unwrap(await alice.storage.from('photos').remove([path])).map((file) => file.name), [path])
assert.notEqual((await alice.storage.from('photos').download(path)).error, null)
done('a public file was served and a file removed')

const heard = { alice: [], bob: [], anon: [] }
for (const [name, client] of Object.entries({ alice, bob, anon })) {
  const channel = client.channel(`notes-${run}`)
  channel.on('postgres_changes', { event: '*', schema: 'public', table: 'notes' }, (change) => heard[name].push(change))
  await subscribed(channel, { rowChanges: true })
}
const fresh = unwrap(await alice.from('notes').insert({ project_id: project.id, title: 'Live', body: 'now' }).select().single())
// Each change is awaited before the next: who may see a change is asked of the row as it is now, as upstream does.
await until(() => heard.alice.length === 1, 'the inserted row')
unwrap(await alice.from('notes').update({ body: 'now and then' }).eq('id', fresh.id))
await until(() => heard.alice.length === 2, 'the updated row')
unwrap(await alice.from('notes').delete().eq('id', fresh.id))
const bobsProject = unwrap(await bob.from('projects').insert({ name: `Hide ${run}` }).select().single())
unwrap(await bob.from('notes').insert({ project_id: bobsProject.id, title: 'Of Bob' }))
await until(() => heard.alice.length >= 3, 'three row changes')
await until(() => heard.bob.some((change) => change.new?.title === 'Of Bob'), "Bob's own change")
assert.deepEqual(heard.alice.map((change) => change.eventType), ['INSERT', 'UPDATE', 'DELETE'])
assert.equal(heard.alice[0].new.title, 'Live')
assert.equal(heard.alice[1].new.body, 'now and then')
assert.deepEqual(heard.alice[2].old, { id: fresh.id })
// A DELETE carries the key only and goes to every subscriber, as upstream; the rows themselves went to nobody else.
assert.ok(heard.bob.every((change) => change.eventType === 'DELETE' || change.new.author_id === bobId))
assert.ok(heard.anon.every((change) => change.eventType === 'DELETE'))
done('row changes reached their reader and nobody else')

const messages = []
const listener = bob.channel(`room-${run}`)
listener.on('broadcast', { event: 'hello' }, (message) => messages.push(message.payload))
await subscribed(listener)
const speaker = await subscribed(alice.channel(`room-${run}`))
assert.equal(await speaker.send({ type: 'broadcast', event: 'hello', payload: { from: 'alice' } }), 'ok')
await until(() => messages.length === 1, 'the broadcast')
assert.deepEqual(messages, [{ from: 'alice' }])
done('a broadcast was received')

await Promise.all([alice, bob, anon].map((client) => client.removeAllChannels()))
unwrap(await alice.auth.signOut())
assert.equal((await alice.auth.getUser()).data.user, null)
done('signed out')
process.exit(0)
