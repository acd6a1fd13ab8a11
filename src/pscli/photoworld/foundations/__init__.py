"""How the shipped weights are remade: the eyes, the tongue and the brush of photoworld."""
