// Stands in for supabase/storage's own application in its tests: what they inject is sent to the server at SERVER_URL.
import http from 'node:http'
import { Readable } from 'node:stream'

type Injected = {
  method?: string
  url?: string | { pathname: string; query?: Record<string, string> }
  path?: string
  headers?: Record<string, string | number | string[] | undefined>
  payload?: unknown
  body?: unknown
  query?: Record<string, string> | string
}

const base = new URL(process.env.SERVER_URL ?? '')

async function bytesOf(payload: unknown): Promise<{ body?: Buffer; type?: string }> {
  if (payload === undefined || payload === null) return {}
  if (typeof payload === 'string' || Buffer.isBuffer(payload) || payload instanceof Uint8Array) {
    return { body: Buffer.from(payload as Uint8Array) }
  }
  const stream = payload as Readable
  if (typeof stream.pipe === 'function') {
    const parts: Buffer[] = []
    await new Promise<void>((resolve, reject) => {
      stream.on('data', (part: Buffer | string) => parts.push(Buffer.from(part)))
      stream.on('end', () => resolve())
      stream.on('error', reject)
      stream.resume?.()
    })
    return { body: Buffer.concat(parts) }
  }
  return { body: Buffer.from(JSON.stringify(payload)), type: 'application/json' }
}

async function inject(options: Injected | string) {
  const given: Injected = typeof options === 'string' ? { url: options } : options
  const { body, type } = await bytesOf(given.payload ?? given.body)
  const headers: http.OutgoingHttpHeaders = {}
  for (const [name, value] of Object.entries(given.headers ?? {})) {
    if (value !== undefined) headers[name.toLowerCase()] = value
  }
  if (type && headers['content-type'] === undefined) headers['content-type'] = type
  if (body && headers['content-length'] === undefined) headers['content-length'] = body.length
  // A length that a test claims is sent as claimed: behind a form's end anything may follow.
  const claimed = Number(headers['content-length'])
  const sent = body && claimed > body.length ? Buffer.concat([body, Buffer.alloc(claimed - body.length)]) : body
  let path = String(typeof given.url === 'object' ? given.url.pathname : (given.url ?? given.path ?? '/'))
  if (!path.startsWith('/')) path = `/${path}`
  path = path.replace(/[^\x21-\x7e]/g, encodeURIComponent)
  if (given.query) path += (path.includes('?') ? '&' : '?') + new URLSearchParams(given.query)
  return new Promise((resolve, reject) => {
    const request = http.request(
      { host: base.hostname, port: base.port, method: given.method ?? 'GET', path, headers },
      (response) => {
        const parts: Buffer[] = []
        response.on('data', (part) => parts.push(part))
        response.on('error', reject)
        response.on('end', () => {
          const raw = Buffer.concat(parts)
          const text = raw.toString('utf8')
          resolve({
            statusCode: response.statusCode,
            statusMessage: response.statusMessage,
            headers: response.headers,
            body: text,
            payload: text,
            rawPayload: raw,
            json: () => JSON.parse(text),
          })
        })
      }
    )
    request.on('error', reject)
    request.end(sent)
  })
}

export const build = () => ({
  inject,
  close: async () => undefined,
  ready: async () => undefined,
  listen: async () => base.origin,
  server: {
    listening: true,
    address: () => ({ address: base.hostname, port: Number(base.port), family: 'IPv4' }),
  },
})

export default build
