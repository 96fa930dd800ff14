package locktable

func partOf(ident uint64) int { return int(ident >> 58) }
