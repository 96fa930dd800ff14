module github.com/godsm/godsm/examples/layerstore

go 1.26.0

replace (
	github.com/godsm/godsm => ../../
	github.com/godsm/godsm/locktable/compat => ../../locktable/compat
)

require (
	github.com/godsm/godsm v0.0.0
	github.com/godsm/godsm/locktable/compat v0.0.0
	go.podman.io/storage v1.65.1
)

require (
	github.com/docker/go-units v0.5.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.22 // indirect
	github.com/moby/sys/mountinfo v0.7.2 // indirect
	github.com/rs/zerolog v1.35.1 // indirect
	github.com/sirupsen/logrus v1.10.2 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
