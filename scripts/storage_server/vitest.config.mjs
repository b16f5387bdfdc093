// supabase/storage's own integration suite (vitest.integration.config.ts of its checkout, the working directory), with its
// application replaced by a client of the server at SERVER_URL.
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url))
const checkout = process.cwd()

export default {
  root: checkout,
  server: { fs: { strict: false } },
  resolve: {
    alias: [
      { find: 'upstream-config', replacement: path.join(checkout, 'src/config.ts') },
      { find: /^\.\.\/app$/, replacement: path.join(here, 'app.ts') },
      { find: 'upstream-migrations', replacement: path.join(checkout, 'src/internal/database/migrations/index.ts') },
      { find: /^@internal\/database\/migrations$/, replacement: path.join(here, 'migrations.ts') },
      { find: /^@internal/, replacement: path.join(checkout, 'src/internal') },
      { find: /^@storage/, replacement: path.join(checkout, 'src/storage') },
    ],
  },
  test: {
    environment: 'node',
    fileParallelism: false,
    globals: true,
    hookTimeout: 30_000,
    testTimeout: 10_000,
    include: ['src/test/**/*.test.ts'],
    setupFiles: ['src/test/vitest-setup.ts', path.join(here, 'setup.ts')],
  },
}
