// Package dsa is a heap over segments.
package dsa
