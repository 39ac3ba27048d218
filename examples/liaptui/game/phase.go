package game

// The phases of a game, in their order.
const (
	Waiting     = "waiting"
	Preparation = "preparation"
	RoundStart  = "round_start"
	Declaration = "declaration"
	Turn        = "turn"
	TurnResults = "turn_results"
	Scoring     = "scoring"
	GameOver    = "game_over"
)

// Legal lists, for every phase, the phases in which one event may leave the game. A phase that may
// stay lists itself; game_over lists nothing. It is not to be changed.
var Legal = map[string][]string{
	Waiting:     {Waiting, Preparation},
	Preparation: {Preparation, RoundStart},
	RoundStart:  {Declaration},
	Declaration: {Declaration, Turn},
	Turn:        {Turn, TurnResults},
	TurnResults: {Turn, Scoring},
	Scoring:     {Preparation, GameOver},
	GameOver:    {},
}
