module github.com/godsm/godsm/examples/guestbook

go 1.26.0

require (
	github.com/godsm/godsm v0.0.0
	github.com/godsm/godsm/batch/pgx v0.0.0
	github.com/godsm/godsm/batch/sqlite v0.0.0
	github.com/jackc/pgx/v5 v5.12.0
)

require (
	github.com/dustin/go-humanize v1.1.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/ncruces/go-strftime v1.1.0 // indirect
	github.com/remyoudompheng/bigfft v0.0.0-20230129092748-24d4a6f8daec // indirect
	github.com/rs/zerolog v1.35.1 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	modernc.org/libc v1.79.0 // indirect
	modernc.org/mathutil v1.7.1 // indirect
	modernc.org/memory v1.12.1 // indirect
	modernc.org/sqlite v1.61.1 // indirect
)

replace (
	github.com/godsm/godsm => ../..
	github.com/godsm/godsm/batch/pgx => ../../batch/pgx
	github.com/godsm/godsm/batch/sqlite => ../../batch/sqlite
)
