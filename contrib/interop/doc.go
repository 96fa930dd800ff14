// Package interop has tests alone: what people run over connections runs over those of package dsmnet, unchanged, between
// processes. It is a module of its own, so that those who import godsm do not inherit what it needs.
package interop
