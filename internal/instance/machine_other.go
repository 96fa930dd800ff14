//go:build !(linux || darwin || freebsd || windows)

package instance

func bootID() string                  { return "" }
func networkFileSystem(string) string { return "" }
