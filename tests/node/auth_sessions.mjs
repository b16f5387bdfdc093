// Drives the auth service with the official JavaScript client, unmodified.
// Arguments: API URL, anon key, service_role key, secret API key. Prints one JSON line.
import assert from 'node:assert/strict'
import { AuthClient } from '@supabase/auth-js'

const [url, anonKey, serviceKey, secretKey] = process.argv.slice(2)
const client = (key) =>
  new AuthClient({
    url: `${url}/auth/v1`,
    headers: { apikey: key, Authorization: `Bearer ${key}` },
    autoRefreshToken: false,
    persistSession: false,
    detectSessionInUrl: false,
  })
const ok = ({ data, error }) => {
  assert.equal(error, null)
  return data
}
const refused = async (promise, status, code, name) => {
  const { error } = await promise
  assert.ok(error, code)
  assert.deepEqual([error.status, error.code], [status, code])
  if (name) assert.equal(error.name, name)
}
const email = 'alice@example.com'
const password = 'correct horse battery'

const app = client(anonKey)
await refused(app.signUp({ email, password: 'x' }), 422, 'weak_password', 'AuthWeakPasswordError')
const up = ok(await app.signUp({ email, password, options: { data: { name: 'Alice' } } }))
assert.equal(up.user.user_metadata.name, 'Alice')
assert.equal(up.user.identities.length, 1)
assert.equal(up.session.token_type, 'bearer')
await refused(client(anonKey).signUp({ email, password }), 422, 'user_already_exists')
await refused(client(anonKey).signInWithPassword({ email, password: 'wrong' }), 400, 'invalid_credentials')

const signedIn = ok(await app.signInWithPassword({ email, password }))
assert.ok(!signedIn.weakPassword)
const before = signedIn.session.refresh_token
const refreshed = ok(await app.refreshSession())
assert.notEqual(refreshed.session.refresh_token, before)
assert.equal(ok(await app.getUser()).user.id, up.user.id)
assert.equal(ok(await app.getClaims()).claims.email, email)
const updated = ok(await app.updateUser({ password: 'a new password', data: { name: 'Alice B.' } }))
assert.equal(updated.user.user_metadata.name, 'Alice B.')
const level = ok(await app.mfa.getAuthenticatorAssuranceLevel())
assert.deepEqual([level.currentLevel, level.nextLevel], ['aal1', 'aal1'])

// With the service_role key, and with an opaque secret key in both headers as newer projects have it.
const { admin } = client(serviceKey)
const created = ok(await admin.createUser({ email: 'bob@example.com', email_confirm: true, user_metadata: { a: 1 } }))
assert.deepEqual(created.user.user_metadata, { a: 1, email_verified: true })
const page = ok(await client(secretKey).admin.listUsers({ page: 1, perPage: 1 }))
assert.deepEqual([page.users.length, page.total, page.nextPage, page.lastPage], [1, 2, 2, 2])
assert.equal(ok(await admin.updateUserById(created.user.id, { ban_duration: '24h' })).user.email, 'bob@example.com')
assert.ok(ok(await admin.getUserById(created.user.id)).user.banned_until)
ok(await admin.deleteUser(created.user.id))
await refused(admin.getUserById(created.user.id), 404, 'user_not_found')
await refused(app.admin.listUsers(), 403, 'not_admin')

const { access_token: token } = ok(await app.getSession()).session
assert.equal((await app.signOut()).error, null)
assert.equal(ok(await app.getSession()).session, null)
const gone = await client(anonKey).getUser(token)
assert.equal(gone.error.name, 'AuthSessionMissingError')

console.log(JSON.stringify({ done: true }))
