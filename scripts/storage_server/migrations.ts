// The migrations module of supabase/storage without what would change the database: the server under test keeps its own.
export * from 'upstream-migrations'
export const runMigrationsOnTenant = async () => undefined
