"""The AWS that a rehearsal plays: the account, its pipeline, its builds."""
