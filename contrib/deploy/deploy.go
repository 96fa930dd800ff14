// Package deploy holds what runs an instance as a service: units for systemd, a Dockerfile, a manifest for Kubernetes. Its tests
// check them with the tools and types of those systems. doc/redeploy.md says how they are used.
package deploy
