//! What an agent is: registration, epochs, the life-cycle that it declares, what AGENT.GET, LIST and STATS show.
