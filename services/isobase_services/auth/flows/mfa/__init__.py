"""Second factors: enrolling, challenging, verifying, giving up. Contracts auth 2.16; supabase/auth internal/api/mfa.go."""
