//go:build !(linux || darwin || freebsd || windows)

package instance

func bootID() (string, error)         { return "", nil }
func networkFileSystem(string) string { return "" }
