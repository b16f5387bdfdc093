"""The real servers of Supabase for the client's tests, in the place of Isobase's: ``make test-sdk-upstream`` names them."""
