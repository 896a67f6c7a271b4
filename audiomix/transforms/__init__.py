"""Operations on single clips that keep the label."""
