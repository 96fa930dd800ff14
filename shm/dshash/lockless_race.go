//go:build race

package dshash

const lockless = false
