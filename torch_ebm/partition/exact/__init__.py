"""log Z by enumeration, by transfer matrix, in closed form, by quadrature."""
