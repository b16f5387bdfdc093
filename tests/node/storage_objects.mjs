// Drives the storage service with the official JavaScript client, unmodified.
// Arguments: API URL, service_role key, a user's token, the user's id. Prints one JSON line.
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { StorageClient } from '@supabase/storage-js'

const [url, serviceKey, userToken, userId] = process.argv.slice(2)
const client = (token) => new StorageClient(`${url}/storage/v1`, { apikey: token, Authorization: `Bearer ${token}` })
const ok = ({ data, error }) => {
  assert.equal(error, null)
  return data
}

const admin = client(serviceKey)
assert.deepEqual(ok(await admin.createBucket('js', { public: false, fileSizeLimit: '1mb' })), { name: 'js' })
const bucket = ok(await admin.getBucket('js'))
assert.deepEqual(Object.keys(bucket).sort(), [
  'allowed_mime_types', 'created_at', 'file_size_limit', 'id', 'name', 'owner', 'public', 'updated_at',
])
assert.match(bucket.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
ok(await admin.updateBucket('js', { public: true }))
assert.equal(ok(await admin.listBuckets()).find((found) => found.id === 'js').public, true)
ok(await admin.updateBucket('js', { public: false }))

const files = client(userToken).from('files')
const path = `${userId}/folder/a b.txt`

// A Blob travels as a form whose file has no field name; a string and a stream as bare bytes.
ok(await files.upload(path, new Blob(['from a blob'], { type: 'text/plain' }), { metadata: { kind: 'test' }, cacheControl: '77' }))
let info = ok(await files.info(path))
assert.deepEqual([info.size, info.contentType, info.metadata, info.cacheControl], [11, 'text/plain', { kind: 'test' }, 'max-age=77'])
assert.equal(await ok(await files.download(path)).text(), 'from a blob')
const taken = await files.upload(path, 'x')
assert.deepEqual([taken.error.statusCode, taken.error.message], ['409', 'The resource already exists'])
ok(await files.upload(path, 'from a string', { upsert: true }))
assert.equal((await ok(await files.download(path)).text()), 'from a string')
ok(await files.update(path, Readable.from([Buffer.from('from '), Buffer.from('a stream')]), { duplex: 'half', contentType: 'a/b' }))
info = ok(await files.info(path))
assert.deepEqual([info.size, info.contentType], [13, 'a/b'])
const form = new FormData()
form.append('file', new Blob(['from a form'], { type: 'text/html' }))
ok(await files.upload(`${userId}/form.html`, form))
assert.equal(await ok(await files.download(`${userId}/form.html`)).text(), 'from a form')

assert.equal(ok(await files.exists(path)), true)
assert.equal((await files.exists('nothing')).data, false)
assert.deepEqual(ok(await files.list(userId)).map((row) => row.name), ['folder', 'form.html'])
const tree = ok(await files.listV2({ prefix: `${userId}/`, with_delimiter: true }))
assert.deepEqual([tree.folders.map((row) => row.name), tree.objects.map((row) => row.name), tree.hasNext],
  [[`${userId}/folder/`], [`${userId}/form.html`], false])

const signed = ok(await files.createSignedUrl(path, 60, { download: 'other.txt' }))
const fetched = await fetch(signed.signedUrl)
assert.deepEqual([await fetched.text(), fetched.headers.get('content-disposition')],
  ['from a stream', `attachment; filename=other.txt; filename*=UTF-8''other.txt`])
const many = ok(await files.createSignedUrls([path, 'nothing'], 60))
assert.equal(await (await fetch(many[0].signedUrl)).text(), 'from a stream')
assert.match(many[1].error, /does not exist/)
const target = ok(await files.createSignedUploadUrl(`${userId}/signed.txt`))
ok(await files.uploadToSignedUrl(target.path, target.token, new Blob(['signed'])))

ok(await files.copy(path, `${userId}/copy.txt`))
ok(await files.move(`${userId}/copy.txt`, `${userId}/moved.txt`))
assert.equal(await ok(await files.download(`${userId}/moved.txt`)).text(), 'from a stream')
assert.equal(ok(await files.remove([`${userId}/moved.txt`, 'nothing'])).length, 1)

ok(await admin.from('js').upload('a.txt', 'x'))
assert.equal((await admin.deleteBucket('js')).error.statusCode, '409')
ok(await admin.emptyBucket('js'))
ok(await admin.deleteBucket('js'))
console.log(JSON.stringify({ done: true }))
