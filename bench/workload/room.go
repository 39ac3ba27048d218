package workload

import (
	"encoding/json"
	"strings"

	"github.com/liap-tui/savepoint"
)

// Room is the state of a recorded game as a program would declare it, with a field
// for each name in the documents of its server.
type Room struct {
	Phase   string
	Reason  string
	Round   int
	Actions int // number of the players' actions
	Table   Table
	Players map[string]Player
}

// Table is what a phase of a Room has; the fields of the others are left out.
type Table struct {
	TurnPlays               map[string]Laid  `json:",omitempty" msgpack:",omitempty"`
	PileCounts              map[string]int   `json:",omitempty" msgpack:",omitempty"`
	CurrentTurnStarter      string           `json:",omitempty" msgpack:",omitempty"`
	CurrentPlayer           string           `json:",omitempty" msgpack:",omitempty"`
	TurnOrder               []string         `json:",omitempty" msgpack:",omitempty"`
	RequiredPieceCount      int              `json:",omitempty" msgpack:",omitempty"`
	TurnComplete            bool             `json:",omitempty" msgpack:",omitempty"`
	CurrentTurnNumber       int              `json:",omitempty" msgpack:",omitempty"`
	Winner                  string           `json:",omitempty" msgpack:",omitempty"`
	PilesWon                int              `json:",omitempty" msgpack:",omitempty"`
	NextTurnStarter         string           `json:",omitempty" msgpack:",omitempty"`
	DeclarationOrder        []string         `json:",omitempty" msgpack:",omitempty"`
	CurrentDeclarerIndex    int              `json:",omitempty" msgpack:",omitempty"`
	CurrentDeclarer         string           `json:",omitempty" msgpack:",omitempty"`
	Declarations            map[string]int   `json:",omitempty" msgpack:",omitempty"`
	DeclarationTotal        int              `json:",omitempty" msgpack:",omitempty"`
	RedealMultiplier        int              `json:",omitempty" msgpack:",omitempty"`
	DealingCards            bool             `json:",omitempty" msgpack:",omitempty"`
	WeakPlayers             []string         `json:",omitempty" msgpack:",omitempty"`
	WeakPlayersAwaiting     []string         `json:",omitempty" msgpack:",omitempty"`
	DecisionsReceived       int              `json:",omitempty" msgpack:",omitempty"`
	DecisionsNeeded         int              `json:",omitempty" msgpack:",omitempty"`
	SimultaneousMode        bool             `json:",omitempty" msgpack:",omitempty"`
	DecisionTimeout         float64          `json:",omitempty" msgpack:",omitempty"`
	DisplayDuration         float64          `json:",omitempty" msgpack:",omitempty"`
	PlayerStats             map[string]Stats `json:",omitempty" msgpack:",omitempty"`
	TurnWinner              string           `json:",omitempty" msgpack:",omitempty"`
	WinningPlay             *Winning         `json:",omitempty" msgpack:",omitempty"`
	NextPhase               string           `json:",omitempty" msgpack:",omitempty"`
	AutoTransition          bool             `json:",omitempty" msgpack:",omitempty"`
	AutoTransitionTriggered bool             `json:",omitempty" msgpack:",omitempty"`
	TransitioningTo         string           `json:",omitempty" msgpack:",omitempty"`
	RoundNumber             int              `json:",omitempty" msgpack:",omitempty"`
	CurrentStarter          string           `json:",omitempty" msgpack:",omitempty"`
	StarterReason           string           `json:",omitempty" msgpack:",omitempty"`
	RoundScores             map[string]Score `json:",omitempty" msgpack:",omitempty"`
	TotalScores             map[string]int   `json:",omitempty" msgpack:",omitempty"`
	GameComplete            bool             `json:",omitempty" msgpack:",omitempty"`
	Winners                 []string         `json:",omitempty" msgpack:",omitempty"`
}

// Player is one seat of a Room.
type Player struct {
	Name               string
	IsBot              bool
	AvatarColor        string
	Hand               []string
	HandSize           int
	ZeroDeclaresInARow int
	Declared           int
	CapturedPiles      int
	Score              int
}

// Laid is what a player laid on the table.
type Laid struct {
	Pieces     []string
	PieceCount int
	PlayType   string
	PlayValue  float64
	IsValid    bool
	Timestamp  float64
}

// Winning is the play that won a turn.
type Winning struct {
	Player string
	Pieces []string
	Value  float64
	Type   string
}

// Stats holds the statistics of a player in one round.
type Stats struct{ TurnsWon, PerfectRounds int }

// Score is the score of a player in one round.
type Score struct {
	Declared, Actual, BaseScore, Bonus int
	HitValue                           float64
	Multiplier, FinalScore, TotalScore int
}

// message is one event of a recorded game: the message that its server sent to the
// players, as JSON whose names are those of a Room's fields.
type message struct {
	Type string
	JSON []byte
}

func (e message) Apply(r *Room, _ meta) error {
	var p struct {
		Phase, NewPhase, Reason string
		PhaseData, Updates      json.RawMessage
		Players                 map[string]Player
	}
	if err := json.Unmarshal(e.JSON, &p); err != nil {
		return err
	}
	switch {
	case e.Type == "phase_data_update":
		r.Reason = p.Reason
		if err := json.Unmarshal(p.Updates, &r.Table); err != nil {
			return err
		}
	case e.Type == "phase_change" && p.Phase != "":
		r.Phase, r.Reason, r.Players, r.Table = p.Phase, p.Reason, p.Players, Table{}
		if err := json.Unmarshal(p.PhaseData, &r.Table); err != nil {
			return err
		}
	case e.Type == "phase_change":
		r.Phase = p.NewPhase
	default:
		r.Actions++
	}
	r.Round = max(r.Round, r.Table.RoundNumber)
	return nil
}

// RoomKind is the kind of the recorded games with a typed state.
func RoomKind() savepoint.Kind[Room] {
	return savepoint.Kind[Room]{
		Name:   "room",
		Events: savepoint.Events[Room]{"message": message{}},
		Phase:  func(r *Room) string { return r.Phase },
	}
}

// EachMessage reads the recording and calls fn for each event, with the id of its room.
func EachMessage(path string, fn func(room string, e savepoint.Event[Room]) error) error {
	return EachLine(path, func(l *Line) error {
		doc, err := l.document()
		if err != nil {
			return err
		}
		b, err := json.Marshal(fieldNames(doc))
		if err != nil {
			return err
		}
		return fn(l.Room, message{Type: l.Type, JSON: b})
	})
}

// fieldNames removes the underscores from names, so that they equal those of Go
// fields except for the case, which encoding/json ignores.
func fieldNames(v any) any {
	switch v := v.(type) {
	case map[string]any:
		named := make(map[string]any, len(v))
		for name, e := range v {
			named[strings.ReplaceAll(name, "_", "")] = fieldNames(e)
		}
		return named
	case []any:
		for i := range v {
			v[i] = fieldNames(v[i])
		}
	}
	return v
}
