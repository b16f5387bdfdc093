// Drives resumable uploads with tus-js-client, unmodified, as the documentation of Supabase shows it.
// Arguments: API URL, a user's token, the user's id. Prints one JSON line. The server is killed and started again from
// outside: "pause" is printed when enough of a file is up, and a line on standard input says that the server is back.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, createReadStream, writeFileSync } from 'node:fs'
import { PassThrough } from 'node:stream'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { FileUrlStorage, Upload, canStoreURLs } from 'tus-js-client'

const [url, token, userId] = process.argv.slice(2)
const MIB = 1024 * 1024
const folder = mkdtempSync(join(tmpdir(), 'tus-'))
const urlStorage = new FileUrlStorage(join(folder, 'urls.json'))
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const md5 = (bytes) => createHash('md5').update(bytes).digest('hex')
assert.ok(canStoreURLs)

function upload(file, name, options = {}, more = {}) {
  let started
  const done = new Promise((resolve, reject) => {
    started = new Upload(file, {
      endpoint: `${url}/storage/v1/upload/resumable`,
      retryDelays: [0, 500, 1000, 2000, 3000, 3000, 5000, 5000, 5000, 5000], // a server may take long to start again
      headers: { authorization: `Bearer ${token}`, 'x-upsert': 'true' },
      uploadDataDuringCreation: true,
      removeFingerprintOnSuccess: true,
      metadata: { bucketName: 'files', objectName: `${userId}/${name}`, contentType: 'image/png', cacheControl: '3600', ...more },
      chunkSize: 6 * MIB,
      urlStorage,
      onError: reject,
      onSuccess: resolve,
      ...options,
    })
  })
  return { started, done }
}

async function download(name) {
  const answer = await fetch(`${url}/storage/v1/object/files/${userId}/${name}`, { headers: { authorization: `Bearer ${token}` } })
  assert.equal(answer.status, 200)
  return { bytes: Buffer.from(await answer.arrayBuffer()), answer }
}

// Whole, in chunks of the documentation.
const content = randomBytes(14 * MIB)
const whole = upload(content, 'whole.png', {}, { metadata: JSON.stringify({ kind: 'test' }) })
whole.started.start()
await whole.done
const got = await download('whole.png')
assert.equal(md5(got.bytes), md5(content))
assert.equal(got.answer.headers.get('content-type'), 'image/png')
assert.equal(got.answer.headers.get('cache-control'), 'max-age=3600')

// A stream of unknown length.
const path = join(folder, 'file.bin')
writeFileSync(path, content)
const stream = upload(createReadStream(path).pipe(new PassThrough()), 'stream.png', { uploadLengthDeferred: true, uploadDataDuringCreation: false })
stream.started.start()
await stream.done
assert.equal(md5((await download('stream.png')).bytes), md5(content))

// Given up in the middle, on the server too.
const given = upload(content, 'given-up.png', { chunkSize: MIB, onChunkComplete: () => given.started.abort(true).then(aborted) })
let aborted
const isAborted = new Promise((resolve) => (aborted = resolve))
given.started.start()
await isAborted
assert.equal((await fetch(given.started.url, { method: 'HEAD', headers: { authorization: `Bearer ${token}`, 'tus-resumable': '1.0.0' } })).status, 404)

// Parts of one file side by side need the concatenation extension, which upstream's server has not.
const parallel = upload(content, 'parallel.png', { parallelUploads: 3, retryDelays: null })
parallel.started.start()
await assert.rejects(parallel.done, /response code: 501/)

// What policies refuse.
const foreign = upload(content, '../foreign.png', { retryDelays: null })
foreign.started.start()
await assert.rejects(foreign.done, /Invalid key/)

// A server that is killed in the middle: the client waits, asks how far it is, and goes on.
let isPaused = false
const survivor = upload(content, 'survivor.png', {
  chunkSize: 4 * MIB,
  onChunkComplete: async () => {
    if (isPaused) return
    isPaused = true
    console.log('pause')
  },
})
survivor.started.start()
await survivor.done
assert.equal(md5((await download('survivor.png')).bytes), md5(content))

// A client that is started again finds its upload by the file's fingerprint.
const file = () => createReadStream(path)
const first = upload(file(), 'resumed.png', { chunkSize: 4 * MIB, onChunkComplete: () => first.started.abort().then(stopped) })
let stopped
const isStopped = new Promise((resolve) => (stopped = resolve))
first.started.start()
await isStopped
let sent = 0
const second = upload(file(), 'resumed.png', { chunkSize: 4 * MIB, onProgress: (bytes) => (sent ||= bytes) })
const previous = await second.started.findPreviousUploads()
assert.equal(previous.length, 1)
second.started.resumeFromPreviousUpload(previous[0])
second.started.start()
await second.done
assert.ok(sent >= 4 * MIB, `began at ${sent}`)
assert.equal(md5((await download('resumed.png')).bytes), md5(content))

console.log(JSON.stringify({ done: true }))
process.exit(0)
